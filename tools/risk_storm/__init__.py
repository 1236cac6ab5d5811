"""Storm of hostile nights against risk and execution: what must never happen is watched."""
