provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project     = var.prefix
      Environment = var.environment
      ManagedBy   = "terraform"
    }
  }
}
