SELECT item_key, image, n_image FROM states WHERE rule = 'compare'
