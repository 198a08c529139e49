"""Media types that the API reads and writes."""

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
OPENAPI_JSON = "application/vnd.oai.openapi+json;version=3.1"
HTML = "text/html"
