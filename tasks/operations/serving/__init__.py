"""`nightscope serve`: a small HTTP service that answers with the champion's predictions.

token        the bearer token of a line's service
champion     who is in charge now, loaded; looked after while the service runs
pictures     uploads, decoded in processes of their own
guard        who may ask, how much, and for how long; before anything is read
connections  none is held open by who sends nothing
app          the addresses, and errors as JSON
run          a port, and the server on it
"""
