//go:build tools

package helm3

import _ "helm.sh/helm/v3/cmd/helm"
