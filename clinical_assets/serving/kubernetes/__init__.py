"""Models as Deployments of a Kubernetes cluster; the cluster reconciles what is recorded here."""
