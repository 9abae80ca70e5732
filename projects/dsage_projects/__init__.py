"""The gallery: projects to run as they are and to read as tutorials. Each has a page in docs/gallery.

* `sum`: the first example of all. `dsage submit sum -p n=5`
* `squares`: a map, written out. `dsage submit squares -p numbers=25,12,25,32,12`
* `points`: points of an elliptic curve modulo primes. `dsage submit points -p curve=0,-1,1,-10,-20 -p below=1000`
* `montecarlo`: volumes by chance, the same on every computer. `dsage submit montecarlo -p d=2 -p error=0.002`
* `prp`: Mersenne and Proth primes, on computers that may err. `dsage submit prp -p last=3000`
* `factor`: the prime factors of an integer. `dsage submit factor -p n=11^150+1`
* `render`: a picture in bands, by a small ray tracer or by POV-Ray. `dsage submit render`
* `welcome`: a first second of work for a computer that has just joined. `dsage submit welcome -p times=3`
* `search`: a search tree whose branches split when they take too long. `dsage submit search`
"""
