#!/bin/sh
# A list manager, run by Postfix's pipe(8): keeps the posting, and sends it anew to the members under a Message-ID of
# its own, with the posting's queue ID beside it. Usage: list-manager.sh QUEUE_ID MEMBER...
set -eu
umask 077
queue_id=$1
shift
posting=/var/lib/lists/postings/$queue_id.$$
cat >"$posting"
new=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
{
    printf 'Message-ID: <talk.%s@lists.quay.example>\n' "$new"
    printf 'X-Lab-Posting: %s\n' "$queue_id"
    sed -e '1{/^From /d;}' "$posting" | awk '
        body { print; next }
        /^$/ { body = 1; print; next }
        /^[ \t]/ { if (!skip) print; next }
        { skip = tolower($0) ~ /^(message-id|received|return-path|x-original-to|delivered-to):/; if (!skip) print }'
} | /usr/sbin/sendmail -f talk-bounces@lists.quay.example -- "$@"
