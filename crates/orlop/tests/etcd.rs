//! Two servers of one cluster, over one etcd.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/common/etcd.rs"]
mod etcd;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use etcd::EtcdCluster;
use orlop_base::port::ReservedPort;
use orlop_client::config::{Auth, Choice, Config};
use orlop_client::https::Https;
use orlop_client::{Client, Resource};
use serde_json::{Value, json};

const ORLOP: &str = env!("CARGO_BIN_EXE_orlop");

/// What the second server of a cluster gets from the first (docs/etcd.md).
const SHARED_KEYS: [&str; 6] = ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"];

struct Server {
    process: Child,
    address: String,
    kubeconfig: PathBuf,
}

impl Server {
    /// Serves when this returns. Server `number` is reached at 127.0.0.`number`.
    fn start(dir: &Path, number: u8, port: u16, etcd: &str) -> Server {
        let mut process = Command::new(ORLOP)
            .args(["server", "--disable-node", "--etcd-servers", etcd])
            .arg(format!("--data-dir={}", dir.display()))
            .arg(format!("--run-dir={}", dir.join("run").display()))
            .arg(format!("--node-name=server-{number}"))
            .arg(format!("--node-ip=192.0.2.{number}"))
            .arg(format!("--bind-address=127.0.0.{number}"))
            .arg(format!("--tls-san=127.0.0.{number}"))
            .arg(format!("--secure-port={port}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, ready) = std::sync::mpsc::channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
        for output in outputs {
            let tell = tell.clone();
            // To the end: a full pipe would stop the server.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if line.contains("API server ready") {
                        let _ = tell.send(());
                    }
                }
            });
        }
        drop(tell);
        ready.recv().expect("the server ended before it was ready");
        let address = format!("https://127.0.0.{number}:{port}");
        Server { process, address, kubeconfig: dir.join("admin.kubeconfig") }
    }

    fn kubectl(&self, arguments: &str) -> Command {
        let mut command = Command::new(ORLOP);
        command.arg("kubectl").arg("--kubeconfig").arg(&self.kubeconfig).args(["--server", &self.address]);
        command.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What it prints.
    fn run(&self, arguments: &str) -> String {
        finish(self.kubectl(arguments).spawn().unwrap(), arguments)
    }

    fn feed(&self, verb: &str, manifest: &str) -> Child {
        let mut kubectl = self.kubectl(&format!("{verb} -f -")).spawn().unwrap();
        kubectl.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        kubectl
    }

    fn config(&self) -> Config {
        Config::load(Some(&self.kubeconfig), &Choice { server: Some(self.address.clone()), ..Choice::default() })
            .unwrap()
    }

    /// One of a ServiceAccount, signed here.
    #[tokio::main(flavor = "current_thread")]
    async fn token(&self) -> String {
        let client = Client::new(Https::new(&self.config()).unwrap(), "test");
        let accounts = client.dynamic(&service_accounts(), "default");
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let made = accounts.post_subresource("default", "token", &request).await.unwrap();
        made["status"]["token"].as_str().unwrap().to_owned()
    }

    #[tokio::main(flavor = "current_thread")]
    async fn accepts(&self, token: &str) {
        let config = Config { client_certificate: None, auth: Auth::Token(token.to_owned()), ..self.config() };
        let client = Client::new(Https::new(&config).unwrap(), "test");
        client.get_raw("/api").await.expect("only who is known may read this");
    }
}

fn service_accounts() -> Resource {
    let (plural, kind) = ("serviceaccounts".into(), "ServiceAccount".into());
    Resource { group: "".into(), version: "v1".into(), plural, kind, namespaced: true }
}

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: {value}}}\n")
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web}]}
";

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn finish(process: Child, what: &str) -> String {
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn services(prefix: &str) -> String {
    let service = |number| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {prefix}-{number}}}\n\
             spec: {{type: NodePort, ports: [{{port: 80}}]}}\n---\n"
        )
    };
    (0..20).map(service).collect()
}

fn addresses(server: &Server) -> String {
    server.run("get endpoints kubernetes -o jsonpath={.subsets[*].addresses[*].ip}")
}

#[test]
fn two_servers_are_one_cluster() {
    let etcd = EtcdCluster::start(1);
    let dir = tempfile::tempdir().unwrap();
    // Both listen on it, at addresses of their own.
    let reserved = ReservedPort::new().unwrap();
    let port = reserved.address.port();
    let first = Server::start(&dir.path().join("1"), 1, port, &etcd.members[0].url);
    std::fs::create_dir_all(dir.path().join("2/pki")).unwrap();
    for name in SHARED_KEYS {
        std::fs::copy(dir.path().join("1/pki").join(name), dir.path().join("2/pki").join(name)).unwrap();
    }
    let second = Server::start(&dir.path().join("2"), 2, port, &etcd.members[0].url);
    assert_eq!(addresses(&second), "192.0.2.1 192.0.2.2");

    for number in 0..10 {
        let name = format!("from-{number}");
        finish(first.feed("apply", &config_map(&name, "old")), "creating");
        finish(second.feed("apply", &config_map(&name, "new")), "changing");
        assert_eq!(first.run(&format!("get configmap {name} -o jsonpath={{.data.a}}")), "new");
        finish(first.feed("delete", &config_map(&name, "new")), "deleting");
    }
    second.accepts(&first.token());

    let creating = [first.feed("create", &services("one")), second.feed("create", &services("other"))];
    for process in creating {
        finish(process, "creating Services");
    }
    let list: Value = serde_json::from_str(&first.run("get services -o json")).unwrap();
    let drawn: Vec<_> = list["items"].as_array().unwrap().iter().filter(|s| s["spec"]["type"] == "NodePort").collect();
    for value in ["/spec/clusterIP", "/spec/ports/0/nodePort"] {
        let distinct: BTreeSet<_> = drawn.iter().map(|s| s.pointer(value).unwrap().to_string()).collect();
        assert_eq!(distinct.len(), 40, "{value} is nobody else's");
    }

    // What one gives back, the other may give away.
    let address = second.run("get service other-7 -o jsonpath={.spec.clusterIP}");
    first.run("delete service other-7");
    let again = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: again}}\nspec: {{clusterIP: {address}, ports: [{{port: 80}}]}}\n"
    );
    finish(second.feed("create", &again), "creating with an address that is free again");
    first.run("delete service again");
    finish(first.feed("create", &again), "and once more, where it was last deleted");

    // The first leads: it was alone when it started.
    let holder = "get lease kube-controller-manager -n kube-system -o jsonpath={.spec.holderIdentity}";
    let before = second.run(holder);
    drop(first);
    finish(second.feed("create", DEPLOYMENT), "creating");
    second.run("wait deployment/web --for=jsonpath={.status.observedGeneration}=1 --timeout=120s");
    assert_ne!(second.run(holder), before);
    second.run("wait endpoints/kubernetes --for=jsonpath={.subsets[0].addresses[0].ip}=192.0.2.2 --timeout=60s");
    assert_eq!(addresses(&second), "192.0.2.2");
}
