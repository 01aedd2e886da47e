#!/bin/sh
. "$(dirname "$0")/lib.sh"
serve p 3300M
attach p "$M"
attach p "$T/second"
RUN=$RDMAFS_RUN_DIR
mkdir "$T/run2"
( export RDMAFS_RUN_DIR="$T/run2"; FABRIC=tcp; attach p "$T/far" ); cp "$T/run2/handler.pid" "$T/far.pid" 2>/dev/null
head -c 1024M /dev/zero | tr '\0' '\125' >"$M/large"
sync -f "$M/large"
cat >"$T/lat.py" <<'P'
import os,sys,time
d,secs,what=sys.argv[1],float(sys.argv[2]),sys.argv[3]
n=os.path.join(d,"lat-%s"%os.getpid())
fd=os.open(n,os.O_RDWR|os.O_CREAT|os.O_DIRECT)
import mmap
b=mmap.mmap(-1,4096); os.pwrite(fd,b,0)
r=[];c=[]
end=time.time()+secs
i=0
while time.time()<end:
    t=time.perf_counter(); os.preadv(fd,[b],0); r.append(time.perf_counter()-t)
    t=time.perf_counter(); os.close(os.open(n+".%d"%i,os.O_CREAT|os.O_WRONLY)); c.append(time.perf_counter()-t); os.unlink(n+".%d"%i); i+=1
for k,x in (("read",r),("create",c)):
    x.sort(); print(what,k,"n",len(x),"p50 %.0f us p99 %.0f us max %.1f ms"%(x[len(x)//2]*1e6,x[len(x)*99//100]*1e6,x[-1]*1e3))
P
python3 "$T/lat.py" "$M" 2 "idle, same handler"
python3 "$T/lat.py" "$T/far" 2 "idle, other handler"
for i in 1 2; do
b=$(now_ms); cat "$M/large" >"$M/copy"; e=$(now_ms); note "cat: $((1024*1000/(e-b))) MiB/s"; rm "$M/copy"; sleep 1
b=$(now_ms); cp "$M/large" "$M/copy"; e=$(now_ms); note "cp at node: $((1024*1000/(e-b))) MiB/s"; cp "$M/large" "$M/copy"; 
b=$(now_ms); cp "$M/large" "$M/copy"; e=$(now_ms); note "cp at node, again: $((1024*1000/(e-b))) MiB/s"; rm "$M/copy"; sleep 1
done
cp "$M/large" "$M/copy"
( while [ ! -e "$T/stop" ]; do dd if=/dev/null of=/dev/null 2>/dev/null; cp "$M/large" "$M/copy"; done ) & L=$!
python3 "$T/lat.py" "$T/second" 3 "copying, same handler"
python3 "$T/lat.py" "$T/far" 3 "copying, other handler"
touch "$T/stop"; wait $L; rm "$T/stop"
( while [ ! -e "$T/stop" ]; do cat "$M/large" >"$M/copy"; done ) & L=$!
python3 "$T/lat.py" "$T/second" 3 "cat, same handler"
python3 "$T/lat.py" "$T/far" 3 "cat, other handler"
touch "$T/stop"; wait $L
b=$(now_ms); fallocate -z -l 1G "$M/copy"; e=$(now_ms); note "zero 1 GiB: $((e-b)) ms"
b=$(now_ms); fallocate -p -l 1G "$M/copy"; e=$(now_ms); note "punch 1 GiB: $((e-b)) ms"
umount "$T/far"
