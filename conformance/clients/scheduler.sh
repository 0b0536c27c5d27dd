#!/usr/bin/env bash
# Upstream's scheduler on an Orlop that runs none, with the rights that the API's own policy gives it.
. "${BASH_SOURCE%/*}/tap.sh"
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$scratch"' EXIT

s() { k --namespace berths "$@"; }
value() { s get "$1" -o "jsonpath={$2}"; }
node() { k get nodes -o 'jsonpath={.items[0].metadata.name}'; }

# A pod that only waits; the rest of its spec is given.
pod() { # NAME FIELDS
  s create -f - <<<'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"'"$1"'","labels":{"app":"'"$1"'"}},"spec":{"terminationGracePeriodSeconds":0,
    "containers":[{"name":"a","image":"'"$AGNHOST"'","args":["pause"],"resources":{"requests":{"cpu":"'"${3:-1m}"'"}}}]'"${2:+,$2}"'}}'
}

scheduled() { s wait "pod/$1" --for=condition=PodScheduled --timeout=60s; }
# Why it has no node.
waits() { # NAME WHY
  s wait "pod/$1" --for=jsonpath='{.status.conditions[?(@.type=="PodScheduled")].status}'=False --timeout=60s
  within "$2" "$(value "pod/$1" '.status.conditions[?(@.type=="PodScheduled")].message')"
}

start() {
  # Not the administrator: the user whom policy knows as the scheduler.
  cp "$KUBECONFIG" "$scratch/kubeconfig"
  kubectl config --kubeconfig="$scratch/kubeconfig" set users.kubernetes-admin.as system:kube-scheduler >&2
  cat >"$scratch/config" <<EOF
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: $scratch/kubeconfig}
profiles: [{schedulerName: default-scheduler}, {schedulerName: second}]
EOF
  "$KUBE_SCHEDULER" --config="$scratch/config" --bind-address=127.0.0.1 --v=2 >&2 &
  scheduler=$!
}

step_it_leads() {
  k create namespace berths
  until_true 60 kubectl --namespace kube-system get lease kube-scheduler
  kill -0 "$scheduler"
}

step_pods_are_placed_and_run() {
  s create deployment web --image="$AGNHOST" --replicas=3 -- /agnhost pause
  s rollout status deployment/web --timeout=100s
  within "Successfully assigned berths/web-" "$(s events --types=Normal)"
  within '"reason":"Scheduled"' "$(k get --raw /api/v1/namespaces/berths/events | tr -d ' ')"
}

step_node_affinity_is_waited_for() {
  pod picky '"nodeSelector":{"berth":"best"}'
  waits picky "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector"
  k label node "$(node)" berth=best
  scheduled picky
  k label node "$(node)" berth-
}

step_taints_are_respected() {
  k taint node "$(node)" dry=dock:NoSchedule
  pod shy
  waits shy "1 node(s) had untolerated taint(s)"
  pod bold '"tolerations":[{"key":"dry","operator":"Exists"}]'
  scheduled bold
  k taint node "$(node)" dry-
  scheduled shy
}

step_cordoned_node_takes_nobody() {
  k cordon "$(node)"
  pod later
  waits later "1 node(s) were unschedulable"
  k uncordon "$(node)"
  scheduled later
}

step_resources_are_counted_and_the_important_preempt() {
  local all
  # What two may not have both.
  all=$(k get nodes -o 'jsonpath={.items[0].status.allocatable.cpu}')
  if [[ $all == *m ]]; then all=${all%m}; else all=$((all * 1000)); fi
  all=$((all * 6 / 10))m
  k create priorityclass captain --value=1000
  pod sailor '' $all
  scheduled sailor
  pod stowaway '' $all
  waits stowaway "Insufficient cpu"
  pod captain '"priorityClassName":"captain"' $all
  scheduled captain
  refused NotFound s get pod sailor
  within Preempted "$(k get events -A -o 'jsonpath={.items[*].reason}')"
  s delete pod captain
  scheduled stowaway
  s delete pod stowaway
  k delete priorityclass captain
}

step_anti_affinity_keeps_apart() {
  pod alone '"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app":"shy"}}}]}}'
  waits alone "didn't match pod anti-affinity rules"
  s delete pod shy
  scheduled alone
}

step_topology_is_spread() {
  pod spread '"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"none","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"spread"}}}]'
  waits spread "didn't match pod topology spread constraints (missing required label)"
  s delete pod spread
}

step_gates_hold_back() {
  pod gated '"schedulingGates":[{"name":"example.com/tide"}]'
  s wait pod/gated --for=jsonpath='{.status.conditions[?(@.type=="PodScheduled")].reason}'=SchedulingGated --timeout=60s
  s patch pod gated --type=json -p '[{"op":"remove","path":"/spec/schedulingGates/0"}]'
  scheduled gated
}

step_volumes_are_bound_when_a_pod_comes() {
  k create -f - <<EOF
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: late}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: berth}
spec: {capacity: {storage: 1Mi}, accessModes: [ReadWriteOnce], storageClassName: late, hostPath: {path: /var/lib/berth, type: DirectoryOrCreate}}
EOF
  s create -f - <<EOF
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], storageClassName: late, resources: {requests: {storage: 1Mi}}}
EOF
  pod keeper '"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"claim"}}]'
  scheduled keeper
  same "$(value pvc/claim .spec.volumeName)" berth
}

step_second_profile_schedules_its_own() {
  pod second '"schedulerName":"second"'
  scheduled second
  pod third '"schedulerName":"nobody"'
  same "$(value pod/third .spec.nodeName)" ""
}

step_daemons_and_jobs_run() {
  s create job once --image="$BUSYBOX" -- true
  s wait job/once --for=condition=Complete --timeout=60s
  s create -f - <<EOF
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template: {metadata: {labels: {app: everywhere}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: a, image: "$AGNHOST", args: [pause]}]}}
EOF
  s rollout status daemonset/everywhere --timeout=100s
}

step_it_leaves_and_still_runs() {
  k delete namespace berths --timeout=100s
  k delete pv berth --timeout=60s
  k delete storageclass late
  kill -0 "$scheduler"
}

start
steps "$0"
