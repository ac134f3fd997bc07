"""The Kubernetes cluster that distributed work and serving run on."""
