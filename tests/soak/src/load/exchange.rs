//! A request and its answer.

use anyhow::{Context, Result, anyhow};
use gateway_bench::client::Connection;
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::Job;
use crate::ledger::{Identity, Outcome, user_agent};

/// Sends a request and reads its answer to the end.
pub(super) async fn run(connection: &mut Connection, number: u64, job: &mut Job) -> Outcome {
    let request = std::mem::take(&mut job.request);
    let request = request.header("user-agent", user_agent(number));
    let request = request.header("accept", "application/json");
    let request = match &job.authorization {
        Some(value) => request.header("authorization", value),
        None => request,
    };
    let request = if job.body.is_empty() {
        request
    } else {
        request.header("content-type", "application/json")
    };
    let answer = match request.body(job.body.clone()) {
        Ok(request) => connection.send(request).await,
        Err(error) => Err(error.into()),
    };
    match answer {
        Ok(answer) => read(answer, job).await,
        Err(error) => Outcome { broken: Some(format!("{error:#}")), ..Outcome::default() },
    }
}

async fn read(answer: Response<Incoming>, job: &Job) -> Outcome {
    let status = answer.status().as_u16();
    let audit_id = answer.headers().get("audit-id").and_then(|id| id.to_str().ok());
    let mut outcome = Outcome {
        status: Some(status),
        audit_id: audit_id.map(str::to_owned),
        ..Outcome::default()
    };
    if status == 101 {
        outcome.broken = upgraded(answer).await.err().map(|error| format!("{error:#}"));
        return outcome;
    }
    let mut body = answer.into_body();
    let mut text = Vec::new();
    loop {
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => {
                if let (Some(_), Some(data)) = (&job.named, frame.data_ref()) {
                    text.extend_from_slice(data);
                }
            }
            Some(Err(error)) => {
                outcome.broken = Some(format!("half an answer: {error}"));
                return outcome;
            }
        }
    }
    if let (Some(want), 201) = (&job.named, status) {
        outcome.wrong_user = wrong_user(&text, want).err().map(|error| format!("{error:#}"));
    }
    outcome
}

/// Reads what comes after 101 until the command has ended.
async fn upgraded(answer: Response<Incoming>) -> Result<()> {
    let mut stream = TokioIo::new(hyper::upgrade::on(answer).await?);
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Whether a `SelfSubjectReview` names whom it must.
fn wrong_user(text: &[u8], want: &Identity) -> Result<()> {
    let answer: Value = serde_json::from_slice(text).context("not a review")?;
    let user = answer.pointer("/status/userInfo").context("no user in the answer")?;
    let name = user["username"].as_str().unwrap_or_default();
    let groups: Vec<&str> =
        user["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let uid = user["uid"].as_str().unwrap_or_default();
    if name == want.name && groups == want.groups && uid == want.uid {
        return Ok(());
    }
    Err(anyhow!("the answer names {name:?} {groups:?} uid {uid:?}, expected {want:?}"))
}
