"""A speckle-denoising autoencoder: trained on pictures whose truth is known, measured against the classical filters.

It knows neither lines nor lake: pictures in, pictures out, and a file of weights.
"""
