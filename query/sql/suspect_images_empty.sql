-- Images of baselines at links that seem broken.
CREATE TEMP TABLE baseline_images (item_key VARCHAR, baseline INTEGER, image VARCHAR)
