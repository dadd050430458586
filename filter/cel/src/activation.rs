//! The values of the variables.

use std::time::Duration;

use go_compat::json;

use crate::{
    check::Variable,
    value::{
        Value,
        map::{Map, UserInfo},
        request::RequestAttributes,
        timestamp::Timestamp,
    },
};

/// The values of the variables of [`Environment::Request`](crate::Environment::Request).
#[derive(Debug, Clone, Copy)]
pub struct Activation<'a> {
    /// `request`
    pub request: RequestAttributes<'a>,
    /// `user`: who signed in.
    pub user: UserInfo<'a>,
    /// `impersonated`: who the user acts as, or [`UserInfo::NOBODY`].
    pub impersonated: UserInfo<'a>,
    /// `claims`: of the token by which the user signed in.
    pub claims: &'a json::Object,
    /// `now`, since 1970.
    pub now: Duration,
}

/// The values of an evaluation's variables.
#[derive(Debug, Clone, Copy)]
pub enum Variables<'a> {
    /// A constant has none.
    None,
    /// Of [`Environment::Claims`](crate::Environment::Claims).
    Claims(&'a json::Members<'a>),
    /// Of [`Environment::User`](crate::Environment::User).
    User(&'a UserInfo<'a>),
    /// Of [`Environment::Request`](crate::Environment::Request).
    Request(&'a Activation<'a>),
    /// Of [`Environment::Answer`](crate::Environment::Answer): the answer, and the claims.
    Answer(&'a json::Node<'a>, &'a json::Members<'a>),
    /// Of [`Environment::Person`](crate::Environment::Person): the user, and the claims.
    Person(&'a UserInfo<'a>, &'a json::Members<'a>),
}

impl<'a> Variables<'a> {
    /// The value of a variable, if the environment has it.
    pub fn value(self, variable: Variable) -> Option<Value<'a>> {
        match (self, variable) {
            (Self::Answer(answer, _), Variable::Answer) => Some(Value::from_json(answer, false)),
            (
                Self::Claims(claims) | Self::Answer(_, claims) | Self::Person(_, claims),
                Variable::Claims,
            ) => Some(Value::Map(Map::Claims(claims))),
            (Self::User(user) | Self::Person(user, _), Variable::User) => {
                Some(Value::Map(Map::User(user)))
            }
            (Self::Request(activation), variable) => Some(activation.value(variable)),
            _ => None,
        }
    }
}

impl<'a> Activation<'a> {
    fn value(&'a self, variable: Variable) -> Value<'a> {
        match variable {
            Variable::Request => Value::Map(Map::Request(&self.request)),
            Variable::User => Value::Map(Map::User(&self.user)),
            Variable::Impersonated => Value::Map(Map::User(&self.impersonated)),
            Variable::Claims => Value::Map(Map::Claims(self.claims)),
            Variable::Now => {
                Timestamp::from_duration(self.now).map_or(Value::Null, Value::Timestamp)
            }
            // The environment has none.
            Variable::Answer => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube_rules::Rules;

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{Environment, Limits, compile, estimate::Sizes};

    const CLAIMS: &[u8] =
        br#"{"acr": "mfa", "auth_time": 1000000, "azp": "agent", "groups": ["a", "b"]}"#;

    fn evaluated(expression: &str, limits: Limits) -> Result<String, String> {
        let program = compile(expression, Environment::Request, Rules::V1_37)
            .map_err(|error| error.to_string())?;
        let json::Value::Object(claims) =
            json::parse(CLAIMS, json::Limits { depth: 9, values: 99 }).unwrap()
        else {
            panic!()
        };
        let groups = ["developers".to_owned(), "contractors".to_owned()];
        let activation = Activation {
            request: RequestAttributes {
                verb: "delete",
                group: "apps",
                version: "v1",
                resource: "deployments",
                subresource: "",
                namespace: "kube-system",
                name: "dns",
                path: "/apis/apps/v1/namespaces/kube-system/deployments/dns",
                address: "192.0.2.1",
                user_agent: "kubectl/v1.37",
            },
            user: UserInfo { username: "jane", groups: &groups, ..UserInfo::NOBODY },
            impersonated: UserInfo { username: "bob", ..UserInfo::NOBODY },
            claims: &claims,
            now: Duration::from_millis(1_000_600_500),
        };
        let evaluated = program.evaluate_request(&activation, limits);
        evaluated.result.map(|value| format!("{value:?}")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_expression_sees_all_variables_of_a_request() {
        for (expression, want) in [
            ("request.verb == 'delete' && request.group == 'apps'", Ok("Bool(true)")),
            (
                "request.version + request.resource + request.subresource == 'v1deployments'",
                Ok("Bool(true)"),
            ),
            ("request.namespace == 'kube-system' && request.name == 'dns'", Ok("Bool(true)")),
            (
                "request.path.startsWith('/apis/') && request.userAgent.matches('^kubectl/')",
                Ok("Bool(true)"),
            ),
            ("cidr('192.0.2.0/24').containsIP(request.address)", Ok("Bool(true)")),
            ("cidr('198.51.100.0/24').containsIP(request.address)", Ok("Bool(false)")),
            ("user.username == 'jane' && impersonated.username == 'bob'", Ok("Bool(true)")),
            ("'contractors' in user.groups && impersonated.groups.size() == 0", Ok("Bool(true)")),
            ("claims.acr == 'mfa' && claims.?azp.orValue('') == 'agent'", Ok("Bool(true)")),
            ("now - timestamp(int(claims.auth_time)) < duration('15m')", Ok("Bool(true)")),
            ("now - timestamp(int(claims.auth_time)) < duration('10m')", Ok("Bool(false)")),
            ("now.getFullYear('Europe/Berlin') == 1970", Ok("Bool(true)")),
            ("user == user && user != impersonated && dyn(impersonated) != user", Ok("Bool(true)")),
            ("dyn(request) == request", Err("no such overload")),
            ("claims.amr == 'x'", Err("no such key: amr")),
            ("user.extra['k'][0] == 'x'", Err("no such key: k")),
        ] {
            let got = evaluated(expression, Limits::default());
            assert_eq!(got.as_deref().map_err(String::as_str), want, "{expression}");
        }
    }

    /// A misspelt field is no field that is always empty.
    #[test]
    fn what_there_is_not_is_refused_at_load() {
        for (expression, want) in [
            ("request.verbs == 'x'", "undefined field 'verbs'"),
            ("request.method == 'x'", "undefined field 'method'"),
            ("user.name == 'x'", "undefined field 'name'"),
            ("time == now", "undeclared reference to 'time'"),
            ("request.verb == 1", "no matching overload for '_==_'"),
            ("now < 5", "no matching overload for '_<_'"),
            ("cidr('10.0.0.0/33').containsIP(request.address)", "program instantiation failed"),
            ("ip('10.0.0.256') == ip(request.address)", "program instantiation failed"),
            ("request.name.matches('(')", "invalid matches argument"),
        ] {
            let got = evaluated(expression, Limits::default()).unwrap_err();
            assert!(got.contains(want), "{expression}: {got}");
        }
        for environment in [Environment::Claims, Environment::User] {
            for variable in ["request", "impersonated", "now"] {
                let expression = format!("dyn({variable}) == 'x'");
                assert!(compile(&expression, environment, Rules::V1_37).is_err(), "{expression}");
            }
        }
    }

    /// What never ends is seen at load, where its size can be told, and ends at its limit else.
    #[test]
    fn an_evaluation_ends_at_the_limit_that_it_is_given() {
        let ten = "[1,2,3,4,5,6,7,8,9,10]";
        let mut long = "true".to_owned();
        for depth in 0..9 {
            long = format!("{ten}.all(i{depth}, {long})");
        }
        let limits = Limits { cost: 10_000, work: 100_000 };
        let exceeded = "operation cancelled: actual cost limit exceeded";
        assert_eq!(evaluated(&long, limits).unwrap_err(), exceeded);
        // Neither `||` nor an optional absorbs it.
        assert_eq!(evaluated(&format!("true && ({long}) || false"), limits).unwrap_err(), exceeded);
        assert_eq!(evaluated("claims.acr == 'mfa'", limits).as_deref(), Ok("Bool(true)"));
        let doubled = "['x'].map(a, a + a).map(a, a + a)".to_owned() + &".map(a, a + a)".repeat(30);
        assert_eq!(evaluated(&format!("{doubled}.size() == 1"), limits).unwrap_err(), exceeded);

        let sizes = Sizes { text: 100, elements: 100 };
        let estimate = |expression: &str| {
            compile(expression, Environment::Request, Rules::V1_37).unwrap().estimate(sizes)
        };
        assert!(estimate(&long) > 1_000_000_000, "{}", estimate(&long));
        assert!(
            estimate(
                "user.groups.all(a, user.groups.all(b, user.groups.exists(c, a == b && c == b)))"
            ) > 1_000_000
        );
        assert!(estimate("user.groups.exists(g, g.startsWith('x'))") < 20_000);
        assert!(
            estimate(
                "request.verb == 'delete' && request.namespace == 'kube-system' && claims.acr in ['a', 'b']"
            ) < 50
        );
    }
}
