
# The services that were built in this workspace: each has a file in its state folder. To ask the tool would compile it where it was edited.
_cargo_xtask_services() {
    local dir=$PWD file
    until [[ -z $dir || -d $dir/STATE_FOLDER/state ]]; do
        dir=${dir%/*}
    done
    for file in "$dir"/STATE_FOLDER/state/*.json; do
        file=${file##*/}
        case $file in
            '*.json' | *.inputs.json | *.target.json) ;;
            *) echo "${file%.json}" ;;
        esac
    done
}

# What is neither a verb, a flag nor a flag's value is a service, where a verb takes services.
_cargo_xtask_answer() {
    _cargo_xtask cargo_xtask "$2" "$3"
    case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
        "build "* | "plan "* | "layers "* | "cache clear" | "cache warm") ;;
        *) return ;;
    esac
    if (( COMP_CWORD > 1 )) && [[ $2 != -* && ( -z ${COMPREPLY[*]} || " ${COMPREPLY[*]} " == *" --help "* ) ]]; then
        local names
        names=$(_cargo_xtask_services)
        if [[ -n $names ]]; then
            COMPREPLY=($(compgen -W "$names" -- "$2"))
        fi
    fi
}

# `cargo xtask …` is completed as cargo_xtask is above. Whatever else follows `cargo` is for the completion that was there before this one,
# cargo's own; where that is loaded late, as bash-completion does it, it is looked for when it is first needed.
_cargo_xtask_hook() {
    local at=1
    while (( at < COMP_CWORD )) && [[ ${COMP_WORDS[at]} == [+-]* ]]; do
        (( at++ ))
    done
    if (( at < COMP_CWORD )) && [[ ${COMP_WORDS[at]} == xtask ]]; then
        COMP_WORDS=(cargo_xtask "${COMP_WORDS[@]:at+1}")
        COMP_CWORD=$(( COMP_CWORD - at ))
        _cargo_xtask_answer cargo_xtask "$2" "$3"
        return
    fi
    if [[ -z ${_cargo_xtask_before+set} ]]; then
        # Where another script has taken over since, what comes late is before this one all the same.
        local first
        first=$(_cargo_xtask_first)
        complete -r cargo
        if declare -F _comp_load > /dev/null; then
            _comp_load cargo
        elif declare -F _completion_loader > /dev/null; then
            _completion_loader cargo
        fi
        _cargo_xtask_before=
        _cargo_xtask_take_over "$first"
    fi
    if [[ -n $_cargo_xtask_before ]]; then
        "$_cargo_xtask_before" "$@"
    fi
}

_cargo_xtask_first() {
    if [[ "$(complete -p cargo 2> /dev/null)" =~ -F\ ([^ ]+) ]]; then
        echo "${BASH_REMATCH[1]}"
    fi
}

_cargo_xtask_take_over() {
    local before
    before=$(_cargo_xtask_first)
    if [[ -n $before && $before != _cargo_xtask_hook ]]; then
        _cargo_xtask_before=$before
    fi
    complete -F "${1:-_cargo_xtask_hook}" -o bashdefault -o default cargo
}

_cargo_xtask_take_over

# Where cargo's own completion is loaded after this one, it asks for cargo-xtask (with bash-completion 2.12 or newer).
_cargo_xtask_forwarded() {
    COMP_WORDS[0]=cargo_xtask
    _cargo_xtask_answer cargo_xtask "$2" "$3"
}
complete -F _cargo_xtask_forwarded -o bashdefault -o default cargo-xtask
