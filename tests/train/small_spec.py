"""A small spec on columns of the joined log."""

SMALL = """\
homespec: 1
name: small
features:
  user_id: {id: {buckets: 1000}, dim: 8}
  video_id: {id: {buckets: 1000}, dim: 8}
  tag: {id: {buckets: 1000}, dim: 8}
  tab: {id: {vocab: 15}, dim: 8}
  duration_ms: {bucketize: [10000, 18000, 30000, 60000, 120000], dim: 8}
groups:
  watch: [click, finish]
  interaction: [like, comment_stay]
tasks:
  click: {label: is_click}
  finish: {label: play_time_ms >= duration_ms}
  like: {label: is_like}
  comment_stay: {label: comment_stay_time > 0}
experts: {width: 16, meta: {shared: 1, group: 1}, task: {shared: 1, group: 1, task: 1}}
gates: {feature: {loras: 1, rank: 4}}
"""
