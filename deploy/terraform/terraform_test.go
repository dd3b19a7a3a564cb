// Package terraform_test checks our Terraform files without a network: neither the
// provider nor its registry is needed. `terraform validate` needs both.
package terraform_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func readSchema(t *testing.T) *schema {
	t.Helper()
	raw, err := os.ReadFile("schema/aws.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// check loads every module under root and returns all that is wrong.
func check(t *testing.T, fsys fs.FS, s *schema) (map[string]*module, []string) {
	t.Helper()
	modules := map[string]*module{}
	var problems []string
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".tf" || modules[path.Dir(name)] != nil {
			return err
		}
		m, found := load(fsys, path.Dir(name))
		modules[m.dir] = m
		problems = append(problems, found...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		problems = append(problems, checkResources(m, s)...)
		problems = append(problems, checkCalls(m, modules)...)
		problems = append(problems, checkReferences(m, s, modules)...)
	}
	return modules, sorted(problems)
}

func TestModulesAndEnvironments(t *testing.T) {
	t.Parallel()
	modules, problems := check(t, os.DirFS("."), readSchema(t))
	for _, p := range problems {
		t.Error(p)
	}
	for _, want := range []string{
		"modules/network", "modules/cluster", "modules/postgres", "modules/redis", "modules/api", "modules/edge", "modules/observability", "modules/platform",
		"environments/staging", "environments/production",
	} {
		if m := modules[want]; m == nil || len(m.blocks) == 0 {
			t.Errorf("%s is missing", want)
		}
	}
}

// The check itself must be able to fail: each row is one mistake in otherwise
// correct files.
func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	s := readSchema(t)
	const child = `variable "name" {
  description = "A name."
  type        = string
}

variable "size" {
  description = "Width and height."
  type = object({
    width  = number
    height = number
  })
}

output "both" {
  description = "Name and width."
  value       = "${var.name}${var.size.width}"
}
`
	const parent = `locals {
  name = "queue"
}

module "child" {
  source = "../child"

  name = local.name
  size = {
    width  = 1
    height = 2
  }
}

resource "aws_lb_target_group" "this" {
  name     = module.child.both
  port     = 80
  protocol = "HTTP"

  health_check {
    path = "/readyz"
  }
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = "arn"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}
`
	rows := map[string]struct{ old, new, want string }{
		"nothing_wrong":                   {"", "", ""},
		"misspelt_argument":               {"protocol = ", "portocol = ", `no argument "portocol"`},
		"misspelt_argument_in_a_block":    {"    path = ", "    pth = ", `no argument "pth"`},
		"missing_required_argument":       {"  load_balancer_arn = \"arn\"\n\n", "", `argument "load_balancer_arn" is required`},
		"missing_required_in_a_block":     {"    type             = \"forward\"\n    target_group_arn", "    target_group_arn", `argument "type" is required`},
		"missing_required_block":          {"\n  default_action {\n    type             = \"forward\"\n    target_group_arn = aws_lb_target_group.this.arn\n  }\n", "", `block "default_action" is required`},
		"misspelt_block":                  {"health_check {", "healthcheck {", `no block "healthcheck"`},
		"block_written_as_argument":       {"  health_check {\n    path = \"/readyz\"\n  }\n", "  health_check = {}\n", `"health_check" is a block`},
		"single_block_twice":              {"  health_check {", "  health_check {\n    port = \"1\"\n  }\n\n  health_check {", `block "health_check" may stand there once`},
		"unknown_resource_type":           {`resource "aws_lb_listener"`, `resource "aws_lb_listner"`, "aws_lb_listner is not in schema/aws.json"},
		"secret_by_value":                 {"  port     = 80", "  password = \"x\"\n  port     = 80", `argument "password" would put a secret in the state`},
		"reference_to_no_resource":        {"aws_lb_target_group.this.arn", "aws_lb_target_group.that.arn", "no such resource"},
		"reference_to_no_attribute":       {"aws_lb_target_group.this.arn", "aws_lb_target_group.this.urn", "the resource has no such attribute"},
		"reference_to_no_variable":        {"name = local.name", "name = var.name", "no such variable"},
		"reference_to_no_local":           {"name = local.name", "name = local.nam", "no such local"},
		"reference_to_no_output":          {"module.child.both", "module.child.each", "the module has no such output"},
		"reference_to_no_module":          {"module.child.both", "module.chld.both", "no such module"},
		"reference_to_no_data_source":     {"module.child.both", "data.aws_region.current.region", "no such data source"},
		"each_without_for_each":           {"module.child.both", "each.key", "the block has no for_each"},
		"module_argument_of_no_variable":  {"  name = local.name\n", "  name = local.name\n  nam  = local.name\n", `no variable "nam"`},
		"module_argument_missing":         {"  name = local.name\n", "", `variable "name" is required`},
		"module_object_with_a_wrong_key":  {"    height = 2", "    heigth = 2", `no attribute "heigth"`},
		"module_object_without_a_key":     {"    height = 2\n", "", `attribute "height" is required`},
		"source_leads_nowhere":            {`"../child"`, `"../chld"`, "its source is no module of ours"},
		"not_formatted":                   {"  port     = 80", "  port = 80", "not formatted"},
		"not_HCL":                         {"locals {", "locals (", "block definition required"},
		"resource_declared_twice":         {`resource "aws_lb_listener" "this" {`, "resource \"aws_lb_listener\" \"this\" {\n}\n\nresource \"aws_lb_listener\" \"this\" {", "declared twice"},
		"local_never_read":                {"name = local.name", `name = "queue"`, `local "name" is never read`},
		"variable_without_type":           {"  type        = string\n", "", `variable "name" has no type`},
		"variable_without_description":    {"  description = \"A name.\"\n  type        = string", "  type = string", `variable "name" has no description`},
		"variable_never_read":             {"${var.name}", "", `variable "name" is never read`},
		"attribute_not_in_variable_type":  {"var.size.width", "var.size.depth", "the variable's type has no such attribute"},
		"output_without_description":      {"  description = \"Name and width.\"\n  value       =", "  value =", `output "both" has no description`},
		"unknown_top_level_block":         {"locals {", "local {", `block "local" is not known`},
		"data_source_argument_misspelt":   {"locals {", "data \"aws_region\" \"x\" {\n  nam = 1\n}\n\nlocals {", `no argument "nam"`},
		"result_written_as_argument":      {"  port     = 80", "  arn      = \"x\"\n  port     = 80", `no argument "arn"`},
		"unknown_block_in_a_nested_block": {"    path = \"/readyz\"\n", "    path = \"/readyz\"\n\n    retry {\n    }\n", `no block "retry"`},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, c := parent, child
			if row.old != "" {
				if strings.Count(p, row.old)+strings.Count(c, row.old) == 0 {
					t.Fatalf("%q is in neither file", row.old)
				}
				if strings.Contains(p, row.old) {
					p = strings.Replace(p, row.old, row.new, 1)
				} else {
					c = strings.Replace(c, row.old, row.new, 1)
				}
			}
			_, problems := check(t, fstest.MapFS{"modules/parent/main.tf": {Data: []byte(p)}, "modules/child/main.tf": {Data: []byte(c)}}, s)
			if row.want == "" {
				if len(problems) > 0 {
					t.Errorf("found %q", problems)
				}
				return
			}
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, row.want) }) {
				t.Errorf("%q is not among %q", row.want, problems)
			}
		})
	}
}

// What costs money is decided by an environment: only what is free, or bounds
// nothing, has a default.
func TestNothingThatCostsMoneyHasADefault(t *testing.T) {
	t.Parallel()
	free := []string{"otlp_endpoint", "cpu_target", "memory_target", "drain_seconds", "idle_timeout_seconds", "runbook_url", "database_free_storage_gib"}
	modules, _ := check(t, os.DirFS("."), readSchema(t))
	for dir, m := range modules {
		for name, v := range m.variables {
			if !v.required && !slices.Contains(free, name) {
				t.Errorf("%s: variable %q has a default", dir, name)
			}
		}
	}
}

func TestEveryAlertHasARunbook(t *testing.T) {
	t.Parallel()
	m, _ := load(os.DirFS("."), "modules/observability")
	found := 0
	m.expressions(func(_ *hclsyntax.Block, attr *hclsyntax.Attribute) {
		for _, name := range literalsOf(attr, "runbook") {
			found++
			if _, err := os.Stat("../runbooks/" + name + ".md"); err != nil {
				t.Errorf("runbook of an alert: %v", err)
			}
		}
	})
	if found < 5 {
		t.Errorf("only %d alerts name a runbook", found)
	}
}

// literalsOf are the plain strings that stand under key in objects of attr.
func literalsOf(attr *hclsyntax.Attribute, key string) []string {
	var found []string
	diags := hclsyntax.VisitAll(attr.Expr, func(n hclsyntax.Node) hcl.Diagnostics {
		object, ok := n.(*hclsyntax.ObjectConsExpr)
		if !ok {
			return nil
		}
		for _, item := range object.Items {
			if v, diags := item.ValueExpr.Value(nil); hcl.ExprAsKeyword(item.KeyExpr) == key && !diags.HasErrors() {
				found = append(found, v.AsString())
			}
		}
		return nil
	})
	if diags.HasErrors() {
		return nil
	}
	return found
}

// Where the terraform program is installed, it has the last word on the form.
func TestTerraformAgrees(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("terraform")
	if err != nil {
		t.Log("terraform is not installed: TestModulesAndEnvironments has checked the form")
		return
	}
	if out, err := exec.CommandContext(t.Context(), program, "fmt", "-check", "-recursive", "-diff", ".").CombinedOutput(); err != nil {
		t.Errorf("terraform fmt: %v\n%s", err, out)
	}
}

// What operators' networks may be is judged by the terraform program alone, so where it
// isn't installed there is nothing to try.
func TestOperators_networks_are_private(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("terraform is not installed; with it on the PATH this runs")
	}
	m, problems := load(os.DirFS("."), "modules/api")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	block := m.variables["operator_networks"].block.Range()
	source, err := os.ReadFile(block.Filename)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(path.Join(dir, "main.tf"), source[block.Start.Byte:block.End.Byte], 0o600); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		`[]`: "", `["10.0.0.0/8", "10.8.0.0/24", "172.31.255.0/24", "192.168.1.7/32", "100.64.0.0/10"]`: "",
		`["8.8.8.0/24"]`: "must lie within", `["172.16.0.0/11"]`: "must be IPv4 ranges", `["172.0.0.0/11"]`: "must lie within",
		`["10.0.0.1/24"]`: "must be IPv4 ranges", `["fd00::/8"]`: "must be IPv4 ranges", `["office"]`: "must be IPv4 ranges", `null`: "null",
	} {
		out, err := exec.CommandContext(t.Context(), program, "-chdir="+dir, "plan", "-no-color", "-input=false", "-lock=false", "-var=operator_networks="+value).CombinedOutput()
		if (err == nil) != (want == "") || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), want) {
			t.Errorf("%s: %v, want %q:\n%s", value, err, want, out)
		}
	}
}
