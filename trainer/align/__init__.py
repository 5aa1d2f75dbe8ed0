"""From preferences to a policy: reward models, PPO, GRPO and DPO.  Losses and advantages are pure functions."""
