"""Export, quantisation, measurement and choice of what ships."""
