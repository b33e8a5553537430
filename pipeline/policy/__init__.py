"""Policy is data: annotated JSON Schemas, catalogues and sinks, compiled once into plain frozen objects."""
