"""The forward ladder: y[n,k,p] = b[k] + Σ_j x[n, (start(k)+j) mod C, p] · w[k,j]."""
