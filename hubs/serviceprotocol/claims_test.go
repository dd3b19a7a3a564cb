package serviceprotocol_test

import (
	"testing"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

func TestClaims_have_the_types_of_NET_and_names_of_tokens(t *testing.T) {
	t.Parallel()
	for short, row := range map[string]struct{ long, back string }{
		"nameid":             {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "sub"},
		"sub":                {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "sub"},
		"unique_name":        {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "name"},
		"roles":              {"http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "role"},
		"role":               {"http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "role"},
		"email":              {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "email"},
		"adfs1email":         {"http://schemas.xmlsoap.org/claims/EmailAddress", "adfs1email"},
		"oid":                {"http://schemas.microsoft.com/identity/claims/objectidentifier", "oid"},
		"scp":                {"http://schemas.microsoft.com/identity/claims/scope", "scp"},
		"amr":                {"http://schemas.microsoft.com/claims/authnmethodsreferences", "amr"},
		"actort":             {"http://schemas.xmlsoap.org/ws/2009/09/identity/claims/actor", "actort"},
		"fwt":                {"http://schemas.microsoft.com/2012/01/requestcontext/claims/x-ms-forwarded-client-ip", "forwardedclientip"},
		"certsubjectname":    {"http://schemas.microsoft.com/2012/12/certificatecontext/field/subjectname", "certsubjectname"},
		"certsubjectaltname": {"http://schemas.microsoft.com/2012/12/certificatecontext/extension/san", "certsubjectaltname"},
		"deviceid":           {"http://schemas.microsoft.com/2012/01/devicecontext/claims/identifier", "deviceid"},
		"pwdexptime":         {"http://schemas.microsoft.com/ws/2012/01/passwordexpirationtime", "pwdexptime"},
		"name":               {"name", "name"},
		"department":         {"department", "department"},
	} {
		long := serviceprotocol.LongClaim(short)
		if back := serviceprotocol.ShortClaim(long); long != row.long || back != row.back {
			t.Errorf("%s is %s, which is %s", short, long, back)
		}
	}
}
