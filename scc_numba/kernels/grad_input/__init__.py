"""The input-gradient ladder: grad_x[n,c,p] = Σ_k w[k, (c−start(k)) mod C] · grad_y[n,k,p]."""
