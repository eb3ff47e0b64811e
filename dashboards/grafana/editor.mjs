// What Grafana's editor brings along: the names of options and transformations, without their controls.
// Both who loads the panels and who draws them need it. grafana is the package @grafana/data, of which
// each has its own.

// option is an option of a field.
export function option(grafana, id, process = grafana.identityOverrideProcessor) {
  return { id, path: id, name: id, process, override: () => null, editor: () => null, shouldApply: () => true };
}

// register tells Grafana the standard options and transformations. Without them every override is unknown.
export function register(grafana) {
  const processors = {
    min: grafana.numberOverrideProcessor,
    max: grafana.numberOverrideProcessor,
    decimals: grafana.numberOverrideProcessor,
    displayName: grafana.displayNameOverrideProcessor,
    noValue: grafana.stringOverrideProcessor,
  };
  grafana.standardFieldConfigEditorRegistry.setInit(() =>
    Object.values(grafana.FieldConfigProperty).map((id) => option(grafana, id, processors[id])),
  );
  grafana.standardTransformersRegistry.setInit(() =>
    Object.values(grafana.standardTransformers)
      .filter((transformation, i, all) => all.indexOf(transformation) === i) // one has two names
      .map((transformation) => ({ id: transformation.id, name: transformation.name, transformation })),
  );
}

// pluginOf makes a panel with these options of fields, each with its default.
export function pluginOf(grafana, type, custom) {
  const plugin = new grafana.PanelPlugin(() => null);
  plugin.meta = { id: type };
  plugin.useFieldConfig({
    useCustomConfig: (builder) => Object.entries(custom).forEach(([id, defaultValue]) => builder.addCustomEditor({ ...option(grafana, id), defaultValue })),
  });
  return plugin;
}
