"""What a ModelDeployment and a PromotionPolicy say of themselves: status, conditions and what of it is news."""
