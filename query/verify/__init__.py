"""Whether a trail is what its signed log says. The verifier fails closed: what nobody checked is never good news."""
