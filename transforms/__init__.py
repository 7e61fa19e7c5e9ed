"""Steps of the document's way: pure functions over chunks and arrays, and thin PTransforms over them."""
