//! What goes through a pod: exec, attach, forwarded ports, logs, eviction.

use anyhow::{Context, Result, ensure};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, AttachedProcess, EvictParams, LogParams, PostParams, TerminalSize};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::NAMESPACE;
use crate::tap::Tap;

pub async fn judge(client: &Client, tap: &mut Tap) {
    tap.step("pod runs", run(client)).await;
    tap.step("exec gives output and status", exec(client)).await;
    tap.step("exec with input", input(client)).await;
    tap.step("exec with a terminal", terminal(client)).await;
    tap.step("exec carries a megabyte there and back", bulk(client)).await;
    tap.step("attach", attach(client)).await;
    tap.step("port forward of several connections", forward(client)).await;
    tap.step("port forward ends where the pod ends it", ended(client)).await;
    tap.step("port forward tells of a closed port", closed(client)).await;
    tap.step("logs followed to the end", logs(client)).await;
    tap.step("ephemeral container", ephemeral(client)).await;
    tap.step("eviction", evict(client)).await;
}

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn create(client: &Client, name: &str, container: Value) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0},
    });
    pods(client).create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    await_condition(pods(client), name, conditions::is_pod_running()).await?;
    Ok(())
}

async fn run(client: &Client) -> Result<()> {
    let (image, args) = (std::env::var("AGNHOST")?, ["netexec", "--http-port=8080"]);
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1});
    create(client, "web", json!({"name": "main", "image": image, "args": args, "readinessProbe": probe})).await?;
    let ready = |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref());
        let mut conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    await_condition(pods(client), "web", ready).await?;
    Ok(())
}

async fn text(mut stream: impl tokio::io::AsyncRead + Unpin) -> Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

async fn shell(client: &Client, words: &str, params: &AttachParams) -> Result<AttachedProcess> {
    Ok(pods(client).exec("web", ["sh", "-c", words], params).await?)
}

async fn exec(client: &Client) -> Result<()> {
    let mut process = shell(client, "echo out; echo err >&2; exit 7", &AttachParams::default()).await?;
    let status = process.take_status().context("no status")?;
    let (out, err) = (process.stdout().context("no stdout")?, process.stderr().context("no stderr")?);
    let (out, err) = tokio::try_join!(text(out), text(err))?;
    ensure!((out.as_str(), err.as_str()) == ("out\n", "err\n"), "{out:?} {err:?}");
    let status = status.await.context("the status is missing")?;
    ensure!(status.reason.as_deref() == Some("NonZeroExitCode"), "{status:?}");
    Ok(())
}

async fn input(client: &Client) -> Result<()> {
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut process = shell(client, "read line; echo got $line", &params).await?;
    let status = process.take_status().context("no status")?;
    let out = process.stdout().context("no stdout")?;
    process.stdin().context("no stdin")?.write_all(b"it\n").await?;
    ensure!(text(out).await? == "got it\n", "something else");
    let status = status.await.context("the status is missing")?;
    ensure!(status.status.as_deref() == Some("Success"), "{status:?}");
    Ok(())
}

async fn terminal(client: &Client) -> Result<()> {
    let mut process = pods(client).exec("web", ["sh"], &AttachParams::interactive_tty()).await?;
    let mut sizes = process.terminal_size().context("no sizes")?;
    sizes.try_send(TerminalSize { width: 123, height: 45 })?;
    let out = process.stdout().context("no stdout")?;
    process.stdin().context("no stdin")?.write_all(b"stty size; exit\n").await?;
    let said = text(out).await?;
    ensure!(said.contains("45 123"), "{said:?}");
    Ok(())
}

async fn bulk(client: &Client) -> Result<()> {
    const SIZE: usize = 1 << 20;
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut process = shell(client, &format!("head -c {SIZE}"), &params).await?;
    let (mut stdin, mut out) = (process.stdin().context("no stdin")?, process.stdout().context("no stdout")?);
    let sent: Vec<u8> = (0..SIZE).map(|n| (n * 7919 / 256) as u8).collect();
    let mut received = Vec::new();
    let (written, read) = tokio::join!(stdin.write_all(&sent), out.read_to_end(&mut received));
    (written?, read?);
    ensure!(received == sent, "{} bytes came back", received.len());
    Ok(())
}

async fn attach(client: &Client) -> Result<()> {
    let cat = json!({"name": "main", "image": std::env::var("BUSYBOX")?, "command": ["cat"], "stdin": true, "stdinOnce": true});
    create(client, "echo", cat).await?;
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut process = pods(client).attach("echo", &params).await?;
    process.stdin().context("no stdin")?.write_all(b"over\n").await?;
    let mut answer = [0; 5];
    process.stdout().context("no stdout")?.read_exact(&mut answer).await?;
    ensure!(&answer == b"over\n", "{answer:?}");
    process.abort();
    Ok(())
}

/// The client hangs up first and hears that all went well.
async fn forward(client: &Client) -> Result<()> {
    for number in 0..3 {
        let mut forwarder = pods(client).portforward("web", &[8080]).await?;
        let mut stream = forwarder.take_stream(8080).context("no stream")?;
        let request = format!("GET /echo?msg=m{number} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(format!("m{number}").as_bytes()) {
            ensure!(stream.read_buf(&mut answer).await? > 0, "ended after {:?}", String::from_utf8_lossy(&answer));
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
        drop(stream);
        forwarder.join().await?;
    }
    Ok(())
}

/// The pod hangs up first. `join` is not asked: kube-rs answers the server's closing with one of its own, which its
/// WebSocket library refuses after that, whoever the server is.
async fn ended(client: &Client) -> Result<()> {
    let mut forwarder = pods(client).portforward("web", &[8080]).await?;
    let mut stream = forwarder.take_stream(8080).context("no stream")?;
    stream.write_all(b"GET /echo?msg=last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    let answer = text(&mut stream).await?;
    ensure!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("last"), "{answer}");
    Ok(())
}

async fn closed(client: &Client) -> Result<()> {
    let mut forwarder = pods(client).portforward("web", &[9]).await?;
    let error = forwarder.take_error(9).context("no errors")?;
    let mut stream = forwarder.take_stream(9).context("no stream")?;
    stream.write_all(b"anybody?").await?;
    let told = error.await.context("nothing is told")?;
    ensure!(told.contains("refused"), "{told}");
    Ok(())
}

async fn logs(client: &Client) -> Result<()> {
    let words = "for n in 1 2 3; do echo line $n; done; sleep 1; echo last";
    let talk = json!({"name": "main", "image": std::env::var("BUSYBOX")?, "command": ["sh", "-c", words]});
    create(client, "talker", talk).await?;
    let follow = LogParams { follow: true, ..LogParams::default() };
    let lines: Vec<String> = pods(client).log_stream("talker", &follow).await?.lines().try_collect().await?;
    ensure!(lines == ["line 1", "line 2", "line 3", "last"], "{lines:?}");
    let tail = LogParams { tail_lines: Some(1), ..LogParams::default() };
    ensure!(pods(client).logs("talker", &tail).await? == "last\n", "another tail");
    Ok(())
}

async fn ephemeral(client: &Client) -> Result<()> {
    let container = json!({"name": "debug", "image": std::env::var("BUSYBOX")?, "command": ["sleep", "100"]});
    let patch = kube::api::Patch::Strategic(json!({"spec": {"ephemeralContainers": [container]}}));
    pods(client).patch_ephemeral_containers("web", &Default::default(), &patch).await?;
    let running = |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref());
        let mut all = status.iter().flat_map(|status| status.ephemeral_container_statuses.iter().flatten());
        all.any(|one| one.state.as_ref().is_some_and(|state| state.running.is_some()))
    };
    await_condition(pods(client), "web", running).await?;
    Ok(())
}

async fn evict(client: &Client) -> Result<()> {
    let uid = pods(client).get("web").await?.uid().context("no uid")?;
    pods(client).evict("web", &EvictParams::default()).await?;
    await_condition(pods(client), "web", conditions::is_deleted(&uid)).await?;
    Ok(())
}
