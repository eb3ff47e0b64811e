package status

// Result is the result of a probe that ran once: what `pingreq probe --output=json` prints in a list.
type Result struct {
	Target  string `json:"target"`
	Kind    string `json:"kind"`
	Probe   string `json:"probe"`
	Profile string `json:"profile"`
	Run
	Diagnosis *Diagnosis `json:"diagnosis" jsonschema_description:"What all results of the target mean together. It is the same in each of them."`
}
