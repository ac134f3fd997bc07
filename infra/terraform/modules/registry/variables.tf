variable "name" {
  description = "Prefix of the repositories."
  type        = string
}

variable "images" {
  description = "Names of the images."
  type        = list(string)
  default     = ["python-base", "python-train", "python-compile", "python-serve"]
}

variable "untagged_days" {
  description = "Images without a tag are removed after this many days."
  type        = number
  default     = 7
}

variable "kept_images" {
  description = "Number of images kept in each repository; more than a year of daily builds."
  type        = number
  default     = 500
}
