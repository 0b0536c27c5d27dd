use serde_json::{Value, json};

use super::*;

fn defaulted(api_version: &str, kind: &str, mut object: Value) -> Value {
    let ty = builtin().of(api_version, kind).unwrap();
    apply(&ty, &mut object);
    let once = object.clone();
    apply(&ty, &mut object);
    assert_eq!(object, once, "idempotent");
    object
}

#[test]
fn every_rule_names_a_type_that_exists() {
    let known = &builtin().by_name;
    let missing: Vec<String> = rules().map(|(name, _)| name).filter(|name| !known.contains_key(name)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn a_pod_gets_its_defaults_at_every_depth() {
    let pod = defaulted(
        "v1",
        "Pod",
        json!({"spec": {
            "hostNetwork": true,
            "serviceAccount": "old",
            "terminationGracePeriodSeconds": -3,
            "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "0.0001", "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"grpc": {"port": 1}},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
            "volumes": [{"name": "e"}, {"name": "c", "configMap": {"name": "x"}},
                {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}, {"name": "h", "hostPath": {"path": "/"}}],
        }}),
    );
    let container = json!({"name": "c", "image": "nginx", "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
        "resources": {"limits": {"cpu": "1m", "memory": "1Gi"}, "requests": {"cpu": "1m", "memory": "1Gi"}},
        "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
        "readinessProbe": {"grpc": {"port": 1, "service": ""},
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}}]});
    assert_eq!(
        pod["spec"],
        json!({
            "hostNetwork": true, "serviceAccount": "old", "serviceAccountName": "old", "terminationGracePeriodSeconds": 1,
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {}, "schedulerName": "default-scheduler",
            "enableServiceLinks": true, "containers": [container],
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "c", "configMap": {"name": "x", "defaultMode": 420}},
                {"name": "p", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}},
                {"name": "h", "hostPath": {"path": "/", "type": ""}}],
        })
    );
}

#[test]
fn pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("host:5000/nginx", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("nginx:latest@sha256:abc", "Always"),
        ("Upper", "IfNotPresent"),
        ("Host/nginx", "Always"),
        ("a//b", "IfNotPresent"),
        ("a--b/c__d.e", "Always"),
        ("a___b", "IfNotPresent"),
    ] {
        let pod = defaulted("v1", "Pod", json!({"spec": {"containers": [{"image": image}]}}));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn workloads_default_their_templates_but_not_as_pods() {
    let deployment =
        defaulted("apps/v1", "Deployment", json!({"spec": {"template": {"spec": {"containers": [{"image": "a:1"}]}}}}));
    assert_eq!(
        deployment["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!(
        (&deployment["spec"]["replicas"], &deployment["spec"]["progressDeadlineSeconds"]),
        (&json!(1), &json!(600))
    );
    let template = &deployment["spec"]["template"]["spec"];
    assert_eq!((&template["dnsPolicy"], &template["enableServiceLinks"]), (&json!("ClusterFirst"), &Value::Null));
    let recreate = defaulted("apps/v1", "Deployment", json!({"spec": {"strategy": {"type": "Recreate"}}}));
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn services_default_by_type() {
    let service = defaulted("v1", "Service", json!({"spec": {"ports": [{"port": 80}], "sessionAffinity": "ClientIP"}}));
    assert_eq!(
        service["spec"],
        json!({"type": "ClusterIP", "internalTrafficPolicy": "Cluster", "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]})
    );
    let external = defaulted("v1", "Service", json!({"spec": {"type": "ExternalName", "externalName": "x"}}));
    assert_eq!(external["spec"], json!({"type": "ExternalName", "externalName": "x", "sessionAffinity": "None"}));
    let balancer = defaulted(
        "v1",
        "Service",
        json!({"spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "h"}]}}}),
    );
    assert_eq!(balancer["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(
        balancer["status"]["loadBalancer"]["ingress"],
        json!([{"ip": "1.2.3.4", "ipMode": "VIP"}, {"hostname": "h"}])
    );
}

#[test]
fn pod_ips_agree() {
    for (status, expected) in [
        (json!({"podIP": "a"}), json!({"podIP": "a", "podIPs": [{"ip": "a"}]})),
        (json!({"podIPs": [{"ip": "a"}, {"ip": "b"}]}), json!({"podIP": "a", "podIPs": [{"ip": "a"}, {"ip": "b"}]})),
        (json!({"podIP": "c", "podIPs": [{"ip": "a"}]}), json!({"podIP": "c", "podIPs": [{"ip": "c"}]})),
    ] {
        let pod = defaulted("v1", "Pod", json!({ "status": status }));
        assert_eq!(pod["status"], expected);
    }
}

#[test]
fn pod_level_resources_come_from_containers_then_limits() {
    let mut pod = json!({"spec": {"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}, "containers": [
        {"resources": {"requests": {"cpu": "100m"}, "limits": {"hugepages-2Mi": "4Mi"}}}, {"resources": {"requests": {"cpu": "200m"}}}]}});
    set_pod_level_resources(&mut pod);
    assert_eq!(
        pod["spec"]["resources"],
        json!({
        "limits": {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "4Mi"},
        "requests": {"cpu": "300m", "memory": "1Gi", "hugepages-2Mi": "4Mi"}})
    );
    let mut without = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
    set_pod_level_resources(&mut without);
    assert!(without["spec"].get("resources").is_none());
}

#[test]
fn rules_are_total_on_anything() {
    for kind in crate::kinds::all() {
        let info = kind.info();
        for version in info.versions.iter() {
            for odd in [
                json!(null),
                json!([]),
                json!({"spec": 3, "status": [], "metadata": "x"}),
                json!({"spec": {"ports": 1, "template": []}}),
            ] {
                if let Some(ty) = kind.schema(version) {
                    apply(&ty, &mut odd.clone());
                }
            }
        }
    }
}
