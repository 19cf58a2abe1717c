
# The services that were built in this workspace: each has a file in its state folder. To ask the tool would compile it where it was edited.
_cargo_xtask_services() {
    local dir=$PWD
    until [[ -z $dir || -d $dir/STATE_FOLDER/state ]]; do
        dir=${dir%/*}
    done
    local -a names
    names=($dir/STATE_FOLDER/state/*.json(N:t:r))
    compadd -- ${names:#*.(inputs|target)}
}

# Cargo's own completion calls the function `_cargo-xtask` for `cargo xtask …`. Where nothing completes `cargo`, this does.
_cargo_xtask_hook() {
    local at=2
    while (( at < CURRENT )) && [[ $words[at] == [+-]* ]]; do
        (( at++ ))
    done
    if (( at < CURRENT )) && [[ $words[at] == xtask ]]; then
        (( CURRENT -= at - 1 ))
        words=(cargo-xtask "${(@)words[at+1,-1]}")
        _cargo-xtask
    else
        _default
    fi
}

if [ "$funcstack[1]" != "_cargo-xtask" ] && (( ! $+_comps[cargo] )); then
    compdef _cargo_xtask_hook cargo
fi
