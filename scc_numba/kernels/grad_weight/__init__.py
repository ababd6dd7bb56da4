"""The weight-gradient ladder: grad_w[k,j] = Σ_{n,p} x[n, (start(k)+j) mod C, p] · grad_y[n,k,p]."""
