# Your own data, the paths and the classes: all that you have to change (docs/your_data.md). Paths are absolute or lie below
# the folder that --data-root or MMUDA_DATA names, `data` by default.
# class -> its id, or ids, in the label files; what no class names is ignored
ids = {
    'road': 1,
    'pavement': 2,
    'building': [3, 4],
    'vegetation': 5,
    'sky': 6,
    'person': 7,
    'vehicle': [8, 9, 10],
}
source = dict(images='renderer/frames', labels='renderer/ids', ids=ids)  # *.png by default
target = dict(images='camera/drives', image_suffix='.jpg', ids=ids)  # its labels are never read
val = dict(
    images='camera/checked/frames', image_suffix='.jpg', labels='camera/checked/masks', label_suffix='_ids.png', ids=ids)
