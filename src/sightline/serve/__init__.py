"""The inference server (Open Inference Protocol v2, REST).

``python -m sightline.serve --bundle DIR --port 8080`` answers:

* ``GET /v2``, ``/v2/health/live``, ``/v2/health/ready``, ``/v2/models/{name}``, ``/v2/models/{name}/ready``, ``/metrics``;
* ``POST /v2/models/{name}/infer`` with one input: ``images``, UINT8 [n, size, size, 3], RGB at the model's size, or ``image_bytes``, BYTES
  [n], whole JPEG, PNG, BMP, WebP or TIFF files, which the server decodes and resizes exactly as training did. In JSON, the elements of
  ``image_bytes`` are base64 (``parameters.content_type`` may say so). Both inputs and all outputs also travel in the binary tensor data
  extension (``Inference-Header-Content-Length``). Outputs: ``probabilities`` FP32 [n, classes], ``label`` BYTES [n] and, when it is asked
  for, ``embedding`` FP32 [n, dim].

In a container: ``--bundle /mnt/models --host 0.0.0.0 --port 8080 --metrics-port 8081 --track route --digest <content digest>``. With
``--metrics-port``, ``/metrics`` and ``/observations`` (see ``sightline.serve.observations``) are answered there and nowhere else. It writes
no files.

Errors are ``{"error": "<short text>"}``: 400 malformed, 404 unknown, 405 method, 408 body too slow, 413 body too large, 422 an image was
refused (the request is well formed, the picture is not usable), 429 busy (with ``Retry-After``), 431 headers too large, 500 internal,
503 not ready.
"""
