-- Images of baselines at links that seem broken.
CREATE TEMP TABLE baseline_images (item UHUGEINT, baseline INTEGER, item_key VARCHAR, image VARCHAR)
