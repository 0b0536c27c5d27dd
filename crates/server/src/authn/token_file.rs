//! Static tokens (`--token-auth-file`): lines of `token,user,uid,"group1,group2"`.

use std::collections::HashMap;
use std::path::Path;

use orlop_client::transport::UserInfo;

/// Users by token, read once.
#[derive(Debug, Default)]
pub struct TokenFile(HashMap<String, UserInfo>);

#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("reading token file {path}")]
    Read { path: String, source: std::io::Error },
    #[error("token file {path}, line {line}: {why}")]
    Line { path: String, line: usize, why: &'static str },
}

impl TokenFile {
    pub fn read(path: &Path) -> Result<Self, TokenFileError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| TokenFileError::Read { path: name.clone(), source })?;
        Self::parse(&text).map_err(|(line, why)| TokenFileError::Line { path: name, line, why })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut users = HashMap::new();
        for (i, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let fields = fields(line).ok_or((i + 1, "unbalanced quotes"))?;
            let [token, name, uid, rest @ ..] = fields.as_slice() else {
                return Err((i + 1, "at least token, user name and uid are needed"));
            };
            if token.is_empty() {
                return Err((i + 1, "the token is empty"));
            }
            let groups = rest.first().map(|groups| groups.split(',').map(str::to_owned).collect()).unwrap_or_default();
            let user = UserInfo { name: name.clone(), uid: uid.clone(), groups, extra: Vec::new() };
            users.insert(token.clone(), user);
        }
        Ok(Self(users))
    }

    pub fn user(&self, token: &str) -> Option<UserInfo> {
        self.0.get(token).cloned()
    }
}

/// The fields of a CSV line; a quoted field may hold commas, and doubled quotes.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c if field.is_empty() && !quoted && c == ' ' => {}
            c => field.push(c),
        }
    }
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_users() {
        let file = TokenFile::parse("# comment\n\nt1,alice,1\nt2,bob,2,\"a,b\"\nt3, \"c\"\"d\",3,g\n").expect("parsed");
        let groups = |token| file.user(token).map(|user| (user.name, user.groups.join("+")));
        assert_eq!(groups("t1"), Some(("alice".into(), String::new())));
        assert_eq!(groups("t2"), Some(("bob".into(), "a+b".into())));
        assert_eq!(groups("t3"), Some(("c\"d".into(), "g".into())));
        assert_eq!(groups("t4"), None);
        for (text, line) in [("a,b", 1), ("t,u,1\n\"x,y,z", 2), (",u,1", 1)] {
            assert_eq!(TokenFile::parse(text).expect_err("refused").0, line, "{text:?}");
        }
    }
}
