"""Page, API and metrics of a run on this machine alone; needs the packages of the extra `web`."""
