"""What every stage shares: artifacts and their store, runs, workspaces, progress, tracking, Prefect."""
