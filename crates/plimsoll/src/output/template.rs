//! Go templates: the subset that Docker's `--format` and `inspect -f` are used with.
//!
//! Field paths, pipelines, variables, `if`, `range`, `with`, literals, Docker's functions (`json`, `split`,
//! `join`, `title`, `lower`, `upper`, `pad`, `truncate`) and the usual ones of Go's [text/template], over JSON
//! values. `define`, `template` and `block` are refused.
//!
//! [text/template]: https://pkg.go.dev/text/template

mod eval;
mod functions;
mod lex;
mod parse;

use serde_json::Value;

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

/// Why a template cannot be used, in Go's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// The text is not a template.
    #[error("template parsing error: template: :{line}: {reason}")]
    Parse {
        /// Line in the template, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be filled in with this value.
    #[error("template: :{line}:{column}: executing \"\" at <{at}>: {reason}")]
    Execute {
        /// Line in the template, from 1.
        line: usize,
        /// Column, from 0, as Go counts.
        column: usize,
        /// The text of the failing part.
        at: String,
        /// What is wrong.
        reason: String,
    },
}

impl Template {
    /// Parses `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            nodes: parse::parse(text)?,
        })
    }

    /// Fills in `value`.
    pub(crate) fn render(&self, value: &Value) -> Result<String, TemplateError> {
        eval::render(&self.nodes, value, |_| "<no value>")
    }

    /// As [`Template::render`], for what Docker has in typed fields: `nothing` says what is printed for a field of this
    /// name that is null.
    pub(crate) fn render_typed(
        &self,
        value: &Value,
        nothing: fn(&str) -> &'static str,
    ) -> Result<String, TemplateError> {
        eval::render(&self.nodes, value, nothing)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value() -> Value {
        json!({
            "Id": "abc",
            "Name": "/web",
            "State": {"Status": "running", "ExitCode": 0, "Running": true, "Health": null},
            "Config": {"Env": ["A=1", "B=2"], "Labels": {"com.x": "y", "a": "b"}, "Cmd": []},
            "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": null}},
        })
    }

    fn render(text: &str) -> String {
        match Template::parse(text).and_then(|template| template.render(&value())) {
            Ok(text) => text,
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn fields_and_values() {
        for (template, expected) in [
            ("plain", "plain"),
            ("{{.Id}}", "abc"),
            ("{{ .State.Status }}!", "running!"),
            ("{{.State.ExitCode}} {{.State.Running}}", "0 true"),
            ("{{.Config.Env}}", "[A=1 B=2]"),
            ("{{.Config.Labels}}", "map[a:b com.x:y]"),
            ("{{.Config.Cmd}}", "[]"),
            ("{{.State.Health}}", "<no value>"),
            ("{{(index .Config.Env 1)}}", "B=2"),
            (
                "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
                "8080",
            ),
            ("{{index .Config.Labels \"com.x\"}}", "y"),
            ("{{json .Config.Env}}", "[\"A=1\",\"B=2\"]"),
            (
                "{{.Config | json}}",
                "{\"Env\":[\"A=1\",\"B=2\"],\"Labels\":{\"com.x\":\"y\",\"a\":\"b\"},\"Cmd\":[]}",
            ),
            ("{{$.Id}}", "abc"),
        ] {
            assert_eq!(render(template), expected, "{template}");
        }
    }

    #[test]
    fn null_is_what_its_field_holds() {
        let value = json!({"List": null, "Map": null, "Other": null, "In": {"List": null}});
        let nothing = |field: &str| match field {
            "List" => "[]",
            "Map" => "map[]",
            _ => "<nil>",
        };
        for (template, expected) in [
            ("{{.List}} {{.In.List}} {{.Map}} {{.Other}}", "[] [] map[] <nil>"),
            ("{{with .In}}{{.List}}{{end}}", "[]"),
            ("{{json .List}} {{.Map | json}}", "null null"),
            ("{{len .List}}{{join .List \",\"}}", "0"),
            ("{{range .List}}x{{else}}none{{end}}{{if .Map}}x{{end}}", "none"),
            ("{{nil}}", "<no value>"),
        ] {
            let template = Template::parse(template).unwrap();
            assert_eq!(template.render_typed(&value, nothing).unwrap(), expected);
        }
    }

    #[test]
    fn functions() {
        for (template, expected) in [
            ("{{upper .Id}} {{lower \"ABC\"}} {{title .Id}}", "ABC abc Abc"),
            ("{{join .Config.Env \",\"}}", "A=1,B=2"),
            ("{{split \"a:b\" \":\"}}", "[a b]"),
            ("[{{pad .Id 2 1}}]", "[  abc ]"),
            ("{{truncate .Id 2}}", "ab"),
            ("{{len .Config.Env}} {{len .Id}}", "2 3"),
            (
                "{{printf \"%s=%d %q %v|%5s|%-5s|%05d|%%\" .Id 3 .Id true .Id .Id 7}}",
                "abc=3 \"abc\" true|  abc|abc  |00007|%",
            ),
            ("{{println .Id 1}}", "abc 1\n"),
            ("{{print 1 2 .Id \"x\"}}", "1 2abcx"),
            (
                "{{eq .Id \"abc\"}} {{eq .Id \"x\" \"abc\"}} {{ne 1 2}}",
                "true true true",
            ),
            (
                "{{lt 1 2}} {{ge 2 2}} {{gt \"b\" \"a\"}} {{le 3 2}}",
                "true true true false",
            ),
            (
                "{{and .Id .Config.Cmd}} {{or .Config.Cmd .Id}} {{not .Id}}",
                "[] abc false",
            ),
            ("{{slice .Id 1}}{{slice .Id 0 1}}", "bca"),
            ("{{.Id | printf \"%s-%s\" \"x\"}}", "x-abc"),
        ] {
            assert_eq!(render(template), expected, "{template}");
        }
    }

    #[test]
    fn control() {
        for (template, expected) in [
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            (
                "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}",
                "none",
            ),
            (
                "{{if eq .Id \"x\"}}1{{else if eq .Id \"abc\"}}2{{else}}3{{end}}",
                "2",
            ),
            ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
            (
                "{{range $i, $e := .Config.Env}}{{$i}}:{{$e}} {{end}}",
                "0:A=1 1:B=2 ",
            ),
            (
                "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}",
                "a=b;com.x=y;",
            ),
            ("{{range .Config.Cmd}}x{{else}}empty{{end}}", "empty"),
            ("{{with .State}}{{.Status}} {{$.Id}}{{end}}", "running abc"),
            ("{{with .State.Health}}x{{else}}y{{end}}", "y"),
            ("{{$x := .Id}}{{$x}}{{$x = \"new\"}}{{$x}}", "abcnew"),
            ("a {{- .Id -}} b", "aabcb"),
            ("{{/* nothing */}}x", "x"),
            (
                "{{range $p, $c := .NetworkSettings.Ports}}{{$p}} -> {{if $c}}{{(index $c 0).HostPort}}{{end}};{{end}}",
                "80/tcp -> 8080;81/tcp -> ;",
            ),
            (
                "{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}",
                "A=1",
            ),
            (
                "{{`raw`}}{{\"q\\t\"}}{{'a'}}{{1.5}}{{true}}{{nil}}",
                "rawq\t971.5true<no value>",
            ),
        ] {
            assert_eq!(render(template), expected, "{template}");
        }
    }

    #[test]
    fn errors_are_gos() {
        for (template, expected) in [
            (
                "{{.Foo}}",
                "error: template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"",
            ),
            (
                "x\n{{ .State.Foo }}",
                "error: template: :2:9: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\"",
            ),
            (
                "{{.State.Health.Status}}",
                "error: template: :1:15: executing \"\" at <.State.Health.Status>: nil data; no entry for key \"Status\"",
            ),
            (
                "{{.Id.X}}",
                "error: template: :1:5: executing \"\" at <.Id.X>: can't evaluate field X in type string",
            ),
            (
                "{{index .Config.Env 7}}",
                "error: template: :1:2: executing \"\" at <index .Config.Env 7>: error calling index: index out of range: 7",
            ),
            (
                "{{foo}}",
                "error: template parsing error: template: :1: function \"foo\" not defined",
            ),
            (
                "{{.Id",
                "error: template parsing error: template: :1: unclosed action",
            ),
            (
                "{{if .Id}}",
                "error: template parsing error: template: :1: unexpected EOF",
            ),
            (
                "{{end}}",
                "error: template parsing error: template: :1: unexpected {{end}}",
            ),
            (
                "{{$x}}",
                "error: template parsing error: template: :1: undefined variable \"$x\"",
            ),
            (
                "{{\"x}}",
                "error: template parsing error: template: :1: unterminated quoted string",
            ),
            (
                "{{define \"x\"}}{{end}}",
                "error: template parsing error: template: :1: {{define}} is not supported",
            ),
        ] {
            assert_eq!(render(template), expected, "{template}");
        }
    }
}
