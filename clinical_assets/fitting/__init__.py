"""Where large batches of networks are fitted: a process of this machine, or a TrainJob of the cluster."""
