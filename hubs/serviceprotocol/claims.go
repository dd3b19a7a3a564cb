package serviceprotocol

// The namespaces of .NET's claim types.
const (
	soapIdentity      = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	soapClaims        = "http://schemas.xmlsoap.org/claims/"
	microsoftIdentity = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
	entraIdentity     = "http://schemas.microsoft.com/identity/claims/"
	authentication    = "http://schemas.microsoft.com/claims/"
	certificateField  = "http://schemas.microsoft.com/2012/12/certificatecontext/field/"
	certificateMore   = "http://schemas.microsoft.com/2012/12/certificatecontext/extension/"
	requestContext    = "http://schemas.microsoft.com/2012/01/requestcontext/claims/"
	deviceContext     = "http://schemas.microsoft.com/2012/01/devicecontext/claims/"
	federation        = "http://schemas.microsoft.com/ws/2012/01/"
)

// longClaims undoes how the SDK shortens claim types when it writes a token
// (SignalRJwtSecurityTokenHandler, which has ClaimTypeMapping of .NET's token
// library): programs look for names, roles and object ids by the long ones.
var longClaims = map[string]string{
	"actort": "http://schemas.xmlsoap.org/ws/2009/09/identity/claims/actor",

	"nameid": soapIdentity + "nameidentifier", "sub": soapIdentity + "nameidentifier", "unique_name": soapIdentity + "name",
	"email": soapIdentity + "emailaddress", "family_name": soapIdentity + "surname", "given_name": soapIdentity + "givenname",
	"gender": soapIdentity + "gender", "birthdate": soapIdentity + "dateofbirth", "website": soapIdentity + "webpage",
	"upn": soapIdentity + "upn", "ppid": soapIdentity + "privatepersonalidentifier", "denyonlysid": soapIdentity + "denyonlysid",
	"certthumbprint": soapIdentity + "thumbprint", "certpublickey": soapIdentity + "rsa",

	"adfs1email": soapClaims + "EmailAddress", "adfs1upn": soapClaims + "UPN", "commonname": soapClaims + "CommonName", "group": soapClaims + "Group",

	"role": microsoftIdentity + "role", "roles": microsoftIdentity + "role", "groupsid": microsoftIdentity + "groupsid",
	"authmethod": microsoftIdentity + "authenticationmethod", "winaccountname": microsoftIdentity + "windowsaccountname",
	"primarysid": microsoftIdentity + "primarysid", "primarygroupsid": microsoftIdentity + "primarygroupsid",
	"denyonlyprimarysid": microsoftIdentity + "denyonlyprimarysid", "denyonlyprimarygroupsid": microsoftIdentity + "denyonlyprimarygroupsid",
	"certserialnumber": microsoftIdentity + "serialnumber",

	"oid": entraIdentity + "objectidentifier", "scp": entraIdentity + "scope", "tid": entraIdentity + "tenantid", "idp": entraIdentity + "identityprovider",

	"acr": authentication + "authnclassreference", "amr": authentication + "authnmethodsreferences",

	"certissuer": certificateField + "issuer", "certissuername": certificateField + "issuername", "certnotafter": certificateField + "notafter",
	"certnotbefore": certificateField + "notbefore", "certrawdata": certificateField + "rawdata",
	"certsignaturealgorithm": certificateField + "signaturealgorithm", "certsubject": certificateField + "subject",
	"certsubjectname": certificateField + "subjectname", "certx509version": certificateField + "x509version",

	"certapppolicy": certificateMore + "applicationpolicy", "certauthoritykeyidentifier": certificateMore + "authoritykeyidentifier",
	"certbasicconstraints": certificateMore + "basicconstraints", "certeku": certificateMore + "eku", "certkeyusage": certificateMore + "keyusage",
	"certpolicy": certificateMore + "certificatepolicy", "certsubjectaltname": certificateMore + "san",
	"certsubjectkeyidentifier": certificateMore + "subjectkeyidentifier", "certtemplatename": certificateMore + "certificatetemplatename",
	"certtemplateinformation": certificateMore + "certificatetemplateinformation",

	"clientapplication": requestContext + "x-ms-client-application", "clientip": requestContext + "x-ms-client-ip",
	"clientuseragent": requestContext + "x-ms-client-user-agent", "endpointpath": requestContext + "x-ms-endpoint-absolute-path",
	"forwardedclientip": requestContext + "x-ms-forwarded-client-ip", "fwt": requestContext + "x-ms-forwarded-client-ip",
	"proxy": requestContext + "x-ms-proxy", "relyingpartytrustid": requestContext + "relyingpartytrustid",

	"devicedispname": deviceContext + "displayname", "deviceid": deviceContext + "identifier", "deviceismanaged": deviceContext + "ismanaged",
	"deviceostype": deviceContext + "ostype", "deviceosver": deviceContext + "osversion", "deviceowner": deviceContext + "userowner",
	"deviceregid": deviceContext + "registrationid", "isregistereduser": deviceContext + "isregistereduser",

	"insidecorporatenetwork": federation + "insidecorporatenetwork", "pwdchgurl": federation + "passwordchangeurl",
	"pwdexpdays": federation + "passwordexpirationdays", "pwdexptime": federation + "passwordexpirationtime",
}

// preferred are the short names of types that have two, and the one whose short
// name in OpenID Connect is another than .NET's.
var preferred = map[string]string{
	soapIdentity + "nameidentifier":             "sub",
	soapIdentity + "name":                       "name",
	microsoftIdentity + "role":                  "role",
	requestContext + "x-ms-forwarded-client-ip": "forwardedclientip",
}

var shortClaims = func() map[string]string {
	m := make(map[string]string, len(longClaims))
	for short, long := range longClaims {
		m[long] = short
	}
	for long, short := range preferred {
		m[long] = short
	}
	return m
}()

// LongClaim is .NET's type of a claim that a token has by its short name; other
// names stay.
func LongClaim(name string) string {
	if long, known := longClaims[name]; known {
		return long
	}
	return name
}

// ShortClaim is the name that tokens have for one of .NET's types; other types stay.
func ShortClaim(claimType string) string {
	if short, known := shortClaims[claimType]; known {
		return short
	}
	return claimType
}
