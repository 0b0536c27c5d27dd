//go:build tools

package sampleapiserver

import _ "k8s.io/sample-apiserver"
