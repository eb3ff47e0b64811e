package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// resolver asks the DNS. [net.Resolver] is one.
type resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// newResolver returns a resolver that tells failures from names that do not exist. Otherwise, after a
// failure it would go on to the next domain of the search list, where the name does not exist.
func newResolver() *net.Resolver { return &net.Resolver{PreferGo: true, StrictErrors: true} }

// dnsFinder asks for the records of names. Each name has a last good list of its own.
type dnsFinder struct {
	DNS
	resolver resolver
	lists    map[string]List
}

func (d *dnsFinder) pause() time.Duration { return d.Refresh }

// find asks for all names, one after the other.
func (d *dnsFinder) find(ctx context.Context) findings {
	ctx, cancel := context.WithTimeout(ctx, min(d.Refresh, askTimeout))
	defer cancel()
	if d.lists == nil {
		d.lists = map[string]List{}
	}
	var errs []error
	var list List
	for _, name := range d.Names {
		found, err := d.ask(ctx, name)
		if err == nil {
			d.lists[name] = found
		} else {
			errs = append(errs, err)
		}
		list = append(list, d.lists[name]...)
	}
	if len(list) > maxTargets {
		errs = append(errs, tooMany(len(list)))
		list = list[:maxTargets]
	}
	return findings{list: list, err: errors.Join(errs...)}
}

// ask returns the targets of a name. A name that does not exist, or has no such record, has none.
func (d *dnsFinder) ask(ctx context.Context, name string) (List, error) {
	list, err := d.records(ctx, name)
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s records of %s: %s", d.Type, name, cause(err))
	}
	return list, nil
}

// cause returns why a lookup failed, without the name and the addresses that the library adds.
func cause(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsTimeout {
			return "the DNS server does not answer"
		}
		return e.Err
	}
	return err.Error()
}

func (d *dnsFinder) records(ctx context.Context, name string) (List, error) {
	if d.Type == "SRV" {
		_, records, err := d.resolver.LookupSRV(ctx, "", "", name)
		if err != nil {
			return nil, err
		}
		return d.services(name, records), nil
	}
	network := map[string]string{"A": "ip4", "AAAA": "ip6"}[d.Type]
	addresses, err := d.resolver.LookupNetIP(ctx, network, name)
	if err != nil {
		return nil, err
	}
	var list List
	for _, a := range addresses {
		list = append(list, labels(name, a.Unmap().String(), d.Port))
	}
	return list, nil
}

// services returns the targets of SRV records. The target "." means that there is no such service
// [RFC 2782].
func (d *dnsFinder) services(name string, records []*net.SRV) (list List) {
	for _, r := range records {
		host := strings.TrimRight(r.Target, ".")
		if host == "" {
			continue
		}
		t := labels(name, host, int(r.Port))
		t["__meta_dns_srv_record_target"] = model.LabelValue(r.Target)
		t["__meta_dns_srv_record_port"] = model.LabelValue(strconv.Itoa(int(r.Port)))
		list = append(list, t)
	}
	return list
}

// labels returns the labels of a target that a name has led to.
func labels(name, host string, port int) model.LabelSet {
	return model.LabelSet{
		model.AddressLabel: model.LabelValue(net.JoinHostPort(host, strconv.Itoa(port))),
		"__meta_dns_name":  model.LabelValue(name),
	}
}
