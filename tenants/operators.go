package tenants

// Operator is a person who runs the service, or a token of one.
type Operator struct {
	ID   string
	Name string // shown to customers
}
