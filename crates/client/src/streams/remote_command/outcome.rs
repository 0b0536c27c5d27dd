//! How a command ended, as the error stream tells it.

use serde_json::{Value, json};

/// The end of a remote command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// The command ran and returned this code, not 0.
    Exit(i32),
    /// The command could not be run, or its end is unknown.
    Failed(String),
}

const NON_ZERO_EXIT_CODE: &str = "NonZeroExitCode";
const EXIT_CODE_CAUSE: &str = "ExitCode";
const INTERNAL_ERROR: &str = "Internal error occurred: ";

impl Outcome {
    /// A failure in the server's words; its standing prefix is not part of the reason.
    fn failed(message: &str) -> Self {
        Self::Failed(message.strip_prefix(INTERNAL_ERROR).unwrap_or(message).to_owned())
    }

    /// The Status object of protocol v4 and later.
    pub fn to_status(&self) -> Value {
        match self {
            Self::Success => json!({ "metadata": {}, "status": "Success" }),
            Self::Exit(code) => json!({
                "metadata": {}, "status": "Failure", "reason": NON_ZERO_EXIT_CODE, "message": self.text(),
                "details": { "causes": [{ "reason": EXIT_CODE_CAUSE, "message": code.to_string() }] },
            }),
            Self::Failed(message) => json!({
                "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
                "message": format!("{INTERNAL_ERROR}{message}"),
                "details": { "causes": [{ "message": message }] },
            }),
        }
    }

    /// The text of protocols before v4; empty for success.
    pub fn text(&self) -> String {
        match self {
            Self::Success => String::new(),
            Self::Exit(code) => {
                format!("command terminated with non-zero exit code: command terminated with exit code {code}")
            }
            Self::Failed(message) => format!("{INTERNAL_ERROR}{message}"),
        }
    }

    /// Reads what a server put on the error stream. Nothing at all is success, as older servers
    /// tell it.
    pub fn from_error_stream(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Success;
        }
        let Ok(status) = serde_json::from_slice::<Value>(bytes) else {
            return Self::failed(String::from_utf8_lossy(bytes).trim());
        };
        match (status["status"].as_str(), status["reason"].as_str()) {
            (Some("Success"), _) => Self::Success,
            (Some("Failure"), Some(NON_ZERO_EXIT_CODE)) => exit_code(&status).map_or_else(
                || Self::Failed("error stream protocol error: no ExitCode cause given".into()),
                Self::Exit,
            ),
            (Some("Failure"), _) => Self::failed(status["message"].as_str().unwrap_or_default()),
            _ => Self::Failed("error stream protocol error: unknown error".into()),
        }
    }
}

fn exit_code(status: &Value) -> Option<i32> {
    let causes = status["details"]["causes"].as_array()?;
    let cause = causes.iter().find(|cause| cause["reason"] == EXIT_CODE_CAUSE)?;
    cause["message"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_the_wire() {
        for outcome in [Outcome::Success, Outcome::Exit(137), Outcome::Failed("no such file".into())] {
            assert_eq!(Outcome::from_error_stream(outcome.to_status().to_string().as_bytes()), outcome);
        }
        assert_eq!(Outcome::from_error_stream(b""), Outcome::Success);
        assert_eq!(Outcome::from_error_stream(b"boom\n"), Outcome::Failed("boom".into()));
    }
}
