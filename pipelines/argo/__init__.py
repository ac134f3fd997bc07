"""The same steps on plain Argo Workflows, for teams without the Kubeflow Pipelines API server."""
