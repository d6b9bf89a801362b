"""What a process gives up once it has what it needs: privileges, system calls, files. What guests could reach if they
got out of their sandbox is what is left.
"""
