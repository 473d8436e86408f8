"""What a user does with machine, algorithms and reference: inputs, options, one call on arrays, comparisons."""
