"""Where the work of a call is done: `choose` names the backend; each is one module of the seam."""
