"""Tasks whose probability is a product of the probabilities of others."""

import torch
import torch.nn.functional as F


def product_logit(first_B, *others_B):
    """The logit of a product of probabilities given by logits [B], exact for logits of any size.

    log p is the sum of all log sigmoids; log(1 - p) grows by 1 - ab = (1 - a) + a (1 - b).
    """
    log_p, log_not_p = F.logsigmoid(first_B), F.logsigmoid(-first_B)
    for logit_B in others_B:
        log_not_p = torch.logaddexp(log_not_p, log_p + F.logsigmoid(-logit_B))
        log_p = log_p + F.logsigmoid(logit_B)
    return log_p - log_not_p
